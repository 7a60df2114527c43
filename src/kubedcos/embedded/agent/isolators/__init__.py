"""Isolators by Mesos' names: what each makes of a container's wishes.

`names` says which an agent has. The others, one module for a kind of wish, add what they give to
one `Preparation`, which the executor process carries out when it enters the container. Nothing
here knows what the container is for: a command task's and one nested in a group's are alike.
"""
