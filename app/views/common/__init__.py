"""What every room draws with: colours and type, painted pieces, icons, the asking of consent."""
