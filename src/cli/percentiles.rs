//! The option that chooses percentiles.

use super::groups::Percent;

#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct PercentileArgs {
    /// Which percentiles to show, in percent, such as `50,95,99.9`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    percentiles: Vec<Percent>,
}

impl PercentileArgs {
    #[cfg(test)]
    pub(super) fn of(list: &str) -> Self {
        Self { percentiles: list.split(',').map(|percent| percent.parse().unwrap()).collect() }
    }

    /// None if none are chosen.
    pub(super) fn chosen(&self) -> &[Percent] {
        &self.percentiles
    }

    /// These ones if none are chosen.
    pub(super) fn or<'a>(&'a self, default: &'a [Percent]) -> &'a [Percent] {
        if self.percentiles.is_empty() { default } else { &self.percentiles }
    }
}

/// The argument with a default in its help.
pub(super) fn with_default(percentiles: clap::Arg, default: &str) -> clap::Arg {
    let help = percentiles.get_help().map(ToString::to_string).unwrap_or_default();
    percentiles.help(format!("{help} [default: {default}]"))
}
