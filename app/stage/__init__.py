"""The stage: what a public exhibit shows all day, without anybody at the keyboard.

Owns which session runs, what follows a failure, what stays on the disk, and how one picture becomes
the next. Knows nothing of Qt, LSL or models: a session is an `app.port.SessionPort`.
"""
