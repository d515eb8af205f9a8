//! Checks the environment: a misspelled variable would otherwise go unnoticed.

/// Logs a warning for each name that starts with `TRAILPAD_` and that no argument reads.
pub fn warn_of_unknown_variables(
    command_line: &clap::Command,
    names: impl Iterator<Item = String>,
) {
    let known = known_variables(command_line);
    for name in names.filter(|name| name.starts_with("TRAILPAD_") && !known.contains(name)) {
        let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, &name));
        tracing::warn!(variable = name, nearest, "unknown environment variable");
    }
}

fn known_variables(command_line: &clap::Command) -> Vec<String> {
    fn gather(command: &clap::Command, known: &mut Vec<String>) {
        let variables = command.get_arguments().filter_map(|argument| argument.get_env());
        known.extend(variables.map(|name| name.to_string_lossy().into_owned()));
        command.get_subcommands().for_each(|command| gather(command, known));
    }
    let mut known = Vec::new();
    gather(command_line, &mut known);
    known.sort_unstable();
    known.dedup();
    known
}
