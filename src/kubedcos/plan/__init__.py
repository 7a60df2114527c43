"""Plans of phases of steps, in the semantics of the DC/OS SDK. Pure: no I/O, no clock."""
