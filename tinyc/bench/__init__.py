"""What networks take, as a table: instructions, RAM, flash."""

from tinyc.bench.measure import Figures, Measured, measure_compiled
from tinyc.bench.table import bench_json, bench_text

__all__ = ["Figures", "Measured", "bench_json", "bench_text", "measure_compiled"]
