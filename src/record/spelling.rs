//! Names that are one edit away from a documented name.

use crate::model::kind::Kind;

/// The name that is one edit away from `name`, if there is one: one insertion, one deletion, one
/// substitution, or one swap of two neighbouring characters.
pub(crate) fn nearest<'a>(name: &str, mut names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names.find(|candidate| is_one_slip(name.as_bytes(), candidate.as_bytes()))
}

/// The documented span whose name is one edit away from `name`.
pub(crate) fn nearest_kind(name: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| is_one_slip(name.as_bytes(), kind.name().as_bytes()))
}

fn is_one_slip(a: &[u8], b: &[u8]) -> bool {
    if a.len().abs_diff(b.len()) > 1 {
        return false;
    }
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (Some(a), Some(b)) = (a.get(start..), b.get(start..)) else { return false };
    let end = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    match (a.split_at_checked(a.len() - end), b.split_at_checked(b.len() - end)) {
        (Some(([_], _)), Some(([] | [_], _))) | (Some(([], _)), Some(([_], _))) => true,
        (Some(([first, second], _)), Some(([third, fourth], _))) => first == fourth && second == third,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slip_is_an_insertion_a_deletion_a_substitution_or_a_swap_of_neighbours() {
        for name in ["stages", "sstage", "stge", "tage", "stag", "state", "Stage", "tsage", "staeg", "stagé"]
        {
            assert_eq!(nearest_kind(name).is_some(), name != "stagé", "{name}");
        }
        for name in
            ["stage", "", "s", "stgaes", "egats", "gtase", "astge", "st", "stage_id", "sta", "stager2"]
        {
            assert_eq!(nearest_kind(name), None, "{name}");
        }
        assert!(is_one_slip(b"aab", b"aaab") && is_one_slip(b"", b"a") && !is_one_slip(b"", b""));
    }
}
