//! What the tests run of the root package.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// Where `omni-metrics` or `examples/omni_pipeline` is, built if need be.
pub fn built(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let profile = BUILT.get_or_init(|| {
        // As `cargo test --workspace --all-features` builds them, so that nothing is built twice.
        let built = Command::new(env!("CARGO"))
            .args(["build", "-q", "--workspace", "--all-features"])
            .args(["--bin", "omni-metrics", "--example", "omni_pipeline"])
            .stderr(Stdio::inherit())
            .status()
            .unwrap();
        assert!(built.success());
        // The directory of the binary beside this test.
        Path::new(env!("CARGO_BIN_EXE_omni_distributed")).parent().unwrap().to_owned()
    });
    profile.join(name)
}
