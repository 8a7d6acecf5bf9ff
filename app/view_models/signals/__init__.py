"""What the signals' views show, without Qt: columns, lanes, spectra, evoked responses, health."""
