"""The application: commands, the runtime (threads, the worker process), views."""
