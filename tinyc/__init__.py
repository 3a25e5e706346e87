"""tinyc: from a trained int8 network to C for one microcontroller."""
