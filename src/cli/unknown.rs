//! An argument that a command does not have.

use clap::{
    Command,
    error::{ContextKind, ContextValue, Error, ErrorKind},
};

use super::sentence::listed;

/// Names the commands that have the argument, in place of arguments that are spelt alike.
pub(super) fn with_owners(mut error: Error, program: &Command) -> Error {
    let (ErrorKind::UnknownArgument, Some(ContextValue::String(argument))) =
        (error.kind(), error.get(ContextKind::InvalidArg))
    else {
        return error;
    };
    let has_it = |command: &&Command| {
        command.get_arguments().any(|known| {
            let long = known.get_long().and_then(|long| argument.strip_prefix("--")?.strip_prefix(long));
            let short = known.get_short().and_then(|short| argument.strip_prefix('-')?.strip_prefix(short));
            long == Some("") || short == Some("")
        })
    };
    let owners = program.get_subcommands().filter(has_it).map(|owner| format!("`{}`", owner.get_name()));
    let owners: Vec<_> = owners.collect();
    if !owners.is_empty() {
        let tip = format!("{argument} is an option of {}", listed(&owners)).into();
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
    }
    error
}
