"""What the sources' views show, without Qt: streams and boards in reach, the last one used."""
