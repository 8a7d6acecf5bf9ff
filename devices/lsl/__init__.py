"""Lab Streaming Layer: finding streams, reading one session's, publishing ours."""

from devices.lsl_settings import quiet

quiet()
