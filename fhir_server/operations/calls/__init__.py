"""What every operation is made of: its declaration, what it is called with, what it answers."""
