"""The signals as they come: traces, spectrum, evoked response, head and peak-to-peak amplitudes."""
