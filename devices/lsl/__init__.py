"""Lab Streaming Layer: finding streams, reading one session's, publishing ours."""
