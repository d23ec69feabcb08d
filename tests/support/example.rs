//! An example as a process of its own.

use std::{
    env,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Builds an example, and returns where it is.
pub fn build(name: &str) -> PathBuf {
    let built = Command::new(env!("CARGO"))
        .args(["build", "-q", "--all-features", "--example", name])
        .stderr(Stdio::inherit())
        .status()
        .unwrap();
    assert!(built.success());
    // Beside the directory of this test.
    let test = env::current_exe().unwrap();
    test.parent().and_then(|deps| deps.parent()).unwrap().join("examples").join(name)
}
