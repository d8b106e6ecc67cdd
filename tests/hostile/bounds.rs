//! What an answer can cost: time, memory, questions.
