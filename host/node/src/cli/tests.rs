//! What can be said on the command line: it parses, it is explained, and the examples in the help texts are real.

use std::path::Path;

use clap::{CommandFactory, Parser};

use super::{Cli, nearest_node};
use crate::scratch::Scratch;

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
        "ringside new",
        "ringside push a b",
        "ringside session",
        "ringside session create",
        "ringside session create pong --config-hex 00 --config-file x",
        "ringside session create pong --private --criteria eu",
        "ringside token",
        "ringside token --player ada --ttl soon",
        "ringside play Mahjong",
        "ringside play pong --bots 257",
        "ringside play pong --seconds 0",
        "ringside game list --admin-url http://127.0.0.1:1",
    ] {
        assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
    }
}

#[test]
fn a_node_is_found_from_the_directories_below_it() {
    let scratch = Scratch::new("nearest-node");
    let (state, name) = (scratch.0.join(".ringside"), Path::new(".ringside"));
    let below = scratch.0.join("games/mygame");
    std::fs::create_dir_all(&below).unwrap();
    std::fs::create_dir_all(&state).unwrap();
    assert_eq!(nearest_node(&below, name), None, "a state directory on which no node runs");
    std::fs::write(state.join("node.json"), "{}").unwrap();
    assert_eq!(nearest_node(&below, name), Some(state.clone()));
    assert_eq!(nearest_node(&scratch.0, name), Some(state));
    let nearer = below.join(".ringside");
    std::fs::create_dir_all(&nearer).unwrap();
    std::fs::write(nearer.join("node.json"), "{}").unwrap();
    assert_eq!(nearest_node(&below, name), Some(nearer));
}
