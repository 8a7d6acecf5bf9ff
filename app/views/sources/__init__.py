"""Where the signals come from: streams, boards, recordings, and what is asked before joining."""
