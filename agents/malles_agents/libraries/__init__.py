"""What other libraries need to know of the markets; each module needs the library it is named after."""
