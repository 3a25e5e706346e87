"""Sample plug-in: names what it adds. Nothing else is imported until tinyc needs it."""

from tinyc.plugins import Plugin

PLUGIN = Plugin(
    passes={"acme-negate-adds": "acme_tinyc.negate_adds:NegateAdds"},
    dialects=("acme_tinyc.dialect:ACME",),
    evaluators={"acme.negate": "acme_tinyc.dialect:evaluate_negate"},
    lowerings={"acme.negate": "acme_tinyc.kernel:lower_negate"},
    kernel_modules=("acme_tinyc.kernel",),
    targets={"acme-board": "acme_tinyc:acme-board.toml"},
)
