"""What goes on in sessions: agents and their processes, runs, and the questions that wait for a person."""
