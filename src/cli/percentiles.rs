//! The option that chooses percentiles.

use super::groups::Percent;

#[derive(Debug, clap::Args)]
pub(super) struct PercentileArgs {
    /// Which percentiles to show, in percent [default: 50,90,99,99.9; of groups: 50,90,99]
    ///
    /// Example: `omni-metrics summary --percentiles 50,95,99.9 FILE`
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(super) percentiles: Vec<Percent>,
}
