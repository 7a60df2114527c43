"""Stories about the scheduler on a simulated Mesos, in virtual time."""
