"""Fine-tuning: what the models here learn from, how, and what comes of it."""
