"""The runtime: threads, the decoder process, the session folder. No Qt, no torch.

One acquisition thread pulls, filters and cuts; one recorder thread writes; one decoder thread
talks to the spawned process that alone has torch. Every hand-over is bounded and counted.
"""
