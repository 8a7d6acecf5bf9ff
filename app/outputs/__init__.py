"""What a session tells other programs beside LSL, and what other programs may tell our recorder.

Owns OSC, the picture feed and LabRecorder's remote control, in both directions. Knows nothing of
threads of a session, of Qt or of models: a session hands over what became of each epoch.
"""
