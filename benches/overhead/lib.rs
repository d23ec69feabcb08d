//! What the layer costs: `cargo bench -p overhead`.
