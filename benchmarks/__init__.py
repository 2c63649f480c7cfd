"""What is measured, against whom, with the commands to repeat it."""
