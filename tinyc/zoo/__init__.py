"""Networks that can be had without a download: builders of float ONNX models from tables of their layers."""

from tinyc.zoo.make import count_network, make_network, networks
from tinyc.zoo.network import Network, Settings
from tinyc.zoo.synthetic import synthetic_inputs
from tinyc.zoo.tally import Tally, tally

__all__ = ["Network", "Settings", "Tally", "count_network", "make_network", "networks", "synthetic_inputs", "tally"]
