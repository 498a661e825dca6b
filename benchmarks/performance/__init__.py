"""Speed of the samplers: this library's methods and general-purpose ones on the same posterior, machine and clock."""
