//! The expression of `--where`.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use cel::{
    Context, Env, ExecutionError, IdedExpr, Value,
    common::{ast::Expr, types::CelBool},
};

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
    /// Two names that it compares with each other.
    pair: Option<(String, String)>,
    /// Whether it was true of a line.
    is_met: AtomicBool,
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
            pair: names.pair,
            is_met: AtomicBool::new(false),
            undecided: AtomicU64::new(0),
            why: OnceLock::new(),
        };
        // A fault that shows on any line, such as a number in place of a condition, shows on this one.
        let decided = condition.decide(&Line::Request(RequestLine::default()), &Wanted::default());
        match (decided, &condition.expression.expr) {
            (Err(Undecided::Fault(why)), _) => Err(refused(&why)),
            (Err(Undecided::Absent), Expr::Ident(name)) => {
                let instead = format!("such as {name} != null, or failed, which is true of a failed request");
                Err(refused(&format!(
                    "{name} alone is neither true nor false; expected a condition, {instead}"
                )))
            }
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
            Ok(is_met) => {
                if is_met && !self.is_met.load(Ordering::Relaxed) {
                    self.is_met.store(true, Ordering::Relaxed);
                }
                is_met
            }
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
        if let Some((one, other)) = self.pair.as_ref().filter(|_| !self.is_met.load(Ordering::Relaxed)) {
            remarks.push(format!(
                "--where: {one} and {other} are both names of what a line has; a text has quotes: \"{other}\""
            ));
        }
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
            ExecutionError::NoSuchOverload(overload) => Self::Fault(
                mixed_kinds(overload.function(), overload.argument_types())
                    .unwrap_or_else(|| error.to_string()),
            ),
            error => Self::Fault(error.to_string()),
        }
    }
}

/// That an operator, `_>_`, stands between two values of different kinds.
fn mixed_kinds(function: &str, types: &[String]) -> Option<String> {
    let operator = function.strip_prefix('_')?.strip_suffix('_')?;
    let kind = |name: &String| match name.as_str() {
        "string" => Some("a text"),
        "int" | "uint" | "double" => Some("a number"),
        "bool" => Some("true or false"),
        "list" => Some("a list"),
        "map" => Some("a set of members"),
        _ => None,
    };
    let [left, right] = types else { return None };
    let (left, right) = (kind(left)?, kind(right)?);
    (left != right).then(|| {
        format!("`{operator}` stands between {left} and {right}; a text has quotes, and a number has none")
    })
}

/// What is wrong with the text, and where.
fn place_of(error: &cel::ParseError, text: &str) -> String {
    let column = usize::try_from(error.pos.1).unwrap_or(0);
    let rest: String = text.chars().skip(column.saturating_sub(1)).collect();
    // The parser lists every token that it knows.
    let what = error.msg.split(" expecting ").next().unwrap_or_default();
    let what = what.strip_prefix("Syntax error: ").unwrap_or(what);
    let written = |instead: &str| format!("at `{rest}`: it is written {instead}");
    match rest.split(' ').next().unwrap_or_default() {
        _ if what.contains("'<EOF>'") => "it ends too early".to_owned(),
        "and" | "AND" => written("&&"),
        "or" | "OR" => written("||"),
        word if word.starts_with('=') && !word.starts_with("==") => written("=="),
        _ if what.starts_with("token recognition error") => {
            format!("at `{rest}`: the expression cannot go on like this")
        }
        _ => format!("at `{rest}`: {what}"),
    }
}
