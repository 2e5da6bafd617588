"""Order mails to strict JSON records: what `make demo` tunes."""
