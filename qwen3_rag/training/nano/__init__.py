"""How the project's own nano models are trained: data, teacher, recipe. Nothing here is imported when the package runs."""
