//! An example as a process of its own.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Builds an example with these features, and returns where it is.
pub fn build(name: &str, features: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "--example", name, "--features", features])
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(built.success());
    // Beside the directory of this test.
    let test = env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name)
}
