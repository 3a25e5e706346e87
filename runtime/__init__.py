"""C sources that ship with generated code or carry it in an emulator: headers, start-up code, linker scripts."""
