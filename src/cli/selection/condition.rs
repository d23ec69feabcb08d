//! The expression of `--where`.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use cel::{Context, Env, ExecutionError, IdedExpr, Value, common::types::CelBool};

use super::{
    names::{Names, near},
    values::{Variables, Wanted},
};
use crate::{Line, RequestLine, cli::amount::amount, write::columns::printable};

const MIXED: &str = "+, -, * and / do not mix whole numbers and decimals; write 1000.0 for 1000, and \
                     double(x) for a count x";

/// An expression that is true or false of a line.
pub(super) struct Condition {
    expression: IdedExpr,
    env: Arc<Env>,
    names_type: bool,
    wanted: Wanted,
    /// Of how many lines the expression was neither true nor false, though nothing that it names was absent.
    undecided: AtomicU64,
    /// Why, of one of these lines.
    why: OnceLock<String>,
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condition").field("expression", &self.expression).finish_non_exhaustive()
    }
}

/// Why an expression is neither true nor false of a line.
#[derive(Debug)]
enum Undecided {
    /// Something that it compares is absent.
    Absent,
    /// The expression is at fault.
    Fault(String),
}

impl Condition {
    /// Reads an expression; the error is a sentence.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let refused = |why: &str| format!("--where '{text}': {}", printable(why));
        let env = Env::stdlib();
        let mut expression = env.parser().parse(text).map_err(|errors| {
            let error = errors.errors.first();
            refused(&error.map_or_else(|| "it can't be read".to_owned(), |error| place_of(error, text)))
        })?;
        let mut names = Names::default();
        names.read(&mut expression);
        if let Some(why) = &names.unknown {
            return Err(refused(why));
        }
        let condition = Self {
            expression,
            env: Arc::new(env),
            names_type: names.has_type,
            wanted: Wanted::new(names.fields),
            undecided: AtomicU64::new(0),
            why: OnceLock::new(),
        };
        // A fault that shows on any line, such as a number in place of a condition, shows on this one.
        match condition.decide(&Line::Request(RequestLine::default()), &Wanted::default()) {
            Err(Undecided::Fault(why)) => Err(refused(&why)),
            _ => Ok(condition),
        }
    }

    /// Whether the expression is true of the line. Lines that are neither requests nor rows are left out,
    /// unless the expression names the type of a line.
    pub(super) fn is_met_by(&self, line: &Line) -> bool {
        if !self.names_type && matches!(line, Line::Summary(_) | Line::Open(_)) {
            return false;
        }
        match self.decide(line, &self.wanted) {
            Ok(is_met) => is_met,
            Err(Undecided::Absent) => false,
            Err(Undecided::Fault(why)) => {
                self.undecided.fetch_add(1, Ordering::Relaxed);
                self.why.get_or_init(|| why);
                false
            }
        }
    }

    fn decide(&self, line: &Line, wanted: &Wanted) -> Result<bool, Undecided> {
        let variables = Variables { line, wanted };
        let mut context = Context::with_env(Arc::clone(&self.env));
        context.set_variable_resolver(&variables);
        let value = Value::resolve_val(&self.expression, &context).map_err(|error| Undecided::of(&error))?;
        match value.downcast_ref::<CelBool>() {
            Some(is_met) => Ok(*is_met.inner()),
            None => Err(match value.get_type().name() {
                "null_type" => Undecided::Absent,
                other => Undecided::Fault(format!("its value is a {other}; expected true or false")),
            }),
        }
    }

    /// What there is to say after the last line.
    pub(super) fn remarks(&self) -> Vec<String> {
        let others = self.wanted.others();
        let missing = self.wanted.missing().map(|name| {
            let near = near(name, others.iter().map(String::as_str));
            let instead = match (near.as_slice(), others.is_empty()) {
                ([], true) => String::new(),
                ([], false) => {
                    format!("; fields are {}", others.iter().cloned().collect::<Vec<_>>().join(", "))
                }
                (near, _) => format!("; did you mean fields.{}?", near.join(" or fields.")),
            };
            format!("--where: no line has the field {name}{instead}")
        });
        let mut remarks: Vec<_> = missing.collect();
        if let Some(why) = self.why.get() {
            let lines = amount(self.undecided.load(Ordering::Relaxed), "line", "lines");
            remarks.push(format!("--where cannot be decided for {lines}, which count as left out: {why}"));
        }
        remarks
    }
}

impl Undecided {
    fn of(error: &ExecutionError) -> Self {
        match error {
            ExecutionError::IndexOutOfBounds(_) | ExecutionError::DivisionByZero(_) => Self::Absent,
            ExecutionError::NoSuchOverload(overload)
                if overload.argument_types().iter().any(|name| name == "null_type") =>
            {
                Self::Absent
            }
            ExecutionError::UnsupportedBinaryOperator(_, Value::Null, _)
            | ExecutionError::UnsupportedBinaryOperator(_, _, Value::Null) => Self::Absent,
            ExecutionError::UnsupportedBinaryOperator(
                _,
                Value::Float(_) | Value::Int(_),
                Value::Float(_) | Value::Int(_),
            ) => Self::Fault(MIXED.to_owned()),
            error => Self::Fault(error.to_string()),
        }
    }
}

/// What is wrong with the text, and where.
fn place_of(error: &cel::ParseError, text: &str) -> String {
    let column = usize::try_from(error.pos.1).unwrap_or(0);
    let rest: String = text.chars().skip(column.saturating_sub(1)).collect();
    // The parser lists every token that it knows.
    let what = error.msg.split(" expecting ").next().unwrap_or_default();
    let what = what.strip_prefix("Syntax error: ").unwrap_or(what);
    if what.contains("'<EOF>'") { "it ends too early".to_owned() } else { format!("at `{rest}`: {what}") }
}
