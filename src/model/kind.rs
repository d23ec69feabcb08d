//! The documented spans.

use std::fmt;

/// The documented spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Stage,
    Transfer,
    #[default]
    Preprocess,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Request, Self::Stage, Self::Transfer, Self::Preprocess];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Stage => "stage",
            Self::Transfer => "transfer",
            Self::Preprocess => "preprocess",
        }
    }

    /// The documented span of this name.
    #[inline]
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "request" => Some(Self::Request),
            "stage" => Some(Self::Stage),
            "transfer" => Some(Self::Transfer),
            "preprocess" => Some(Self::Preprocess),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
