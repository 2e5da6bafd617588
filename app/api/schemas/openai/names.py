"""OpenAI's names for ours."""

from __future__ import annotations

from app.domain.hyperparameters import AUTO_LEARNING_RATES

HYPERPARAMETERS = {"n_epochs": "epochs", "learning_rate_multiplier": "learning_rate"}
# OpenAI does not say of what the multiplier is one; here it is of what `auto` gives.
MULTIPLIED = "of the method's default learning rate: " + ", ".join(
    f"{rate:g} for {method}" for method, rate in AUTO_LEARNING_RATES.items()
)
