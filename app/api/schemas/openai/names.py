"""OpenAI's names for ours."""

from __future__ import annotations

from app.domain.hyperparameters import AUTO_LEARNING_RATES

HYPERPARAMETERS = {"n_epochs": "epochs", "learning_rate_multiplier": "learning_rate"}
DEFAULT_LEARNING_RATES = AUTO_LEARNING_RATES
TOLD_LEARNING_RATES = ", ".join(f"{rate:g} for {method}" for method, rate in DEFAULT_LEARNING_RATES.items())
