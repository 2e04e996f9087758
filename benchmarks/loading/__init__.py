"""What benchmarks/loader.py consists of: data, clocks, our side."""
