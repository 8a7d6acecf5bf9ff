"""The core: values, ports, ring, filters, epochs, session state. Pure: no threads, no clock."""
