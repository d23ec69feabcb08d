//! The examples of `docs/exporters.md` are tests.

#[cfg(doctest)]
#[doc = include_str!("../../docs/exporters.md")]
struct Exporters;
