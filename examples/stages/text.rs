//! What the thinker tells the talker.

use serde::{Deserialize, Serialize};

/// What was generated for a request.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) generation: Generation,
}

/// How the text came about. Travels with the request to its end.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Generation {
    pub(crate) prompt_tokens: u64,
    pub(crate) tokens: u64,
    pub(crate) batch_size: u64,
    pub(crate) finish_reason: FinishReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum FinishReason {
    Stop,
    Length,
    /// Nobody waits for it any more.
    Abort,
}

impl FinishReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::Abort => "abort",
        }
    }
}
