"""Many inputs, each by itself: in several processes, to go on with later, one's failure its own.

`inputs` says what there is and what each is called, `folder` what is done already, `pool` runs it.
"""
