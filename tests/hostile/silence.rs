//! What is no answer is not "there is none".
