"""What the api takes and gives, field by field, and how it is made of the domain's states."""
