//! What can be said on the command line: it parses, it is explained, and the examples in the help texts are real.

use clap::{CommandFactory, Parser};

use super::Cli;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_is_explained() {
    fn check(command: &clap::Command) {
        assert!(command.get_about().is_some(), "{} has no description", command.get_name());
        for argument in command.get_arguments() {
            let explained = argument.get_help().is_some();
            assert!(explained, "{} of {} has no description", argument.get_id(), command.get_name());
        }
        command.get_subcommands().for_each(check);
    }
    check(&Cli::command());
}

#[test]
fn the_examples_parse() {
    let mut examples = 0;
    fn collect(command: &clap::Command, lines: &mut Vec<String>) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        lines.extend(text.lines().map(str::trim).filter(|line| line.starts_with("ringside ")).map(str::to_owned));
        command.get_subcommands().for_each(|command| collect(command, lines));
    }
    let mut lines = Vec::new();
    collect(&Cli::command(), &mut lines);
    for line in lines {
        let words = line.split('|').next().unwrap_or_default();
        let words = words.split("   ").next().unwrap_or_default().replace("\"the hall closes\"", "closing");
        Cli::try_parse_from(words.split_whitespace()).unwrap_or_else(|error| panic!("{line}: {error}"));
        examples += 1;
    }
    assert!(examples >= 15, "only {examples} examples");
}

#[test]
fn mistakes_are_refused() {
    for line in [
        "ringside",
        "ringside fly",
        "ringside push",
        "ringside session",
        "ringside session create",
        "ringside session create pong --config-hex 00 --config-file x",
        "ringside session create pong --private --criteria eu",
        "ringside token",
        "ringside token --player ada --ttl soon",
        "ringside play mahjong",
        "ringside play pong --bots 257",
        "ringside play pong --seconds 0",
        "ringside game list --admin-url http://127.0.0.1:1",
    ] {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}
