"""Pure decisions: commands, events, states, `decide` and `evolve`, one module per aggregate."""
