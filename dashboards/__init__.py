"""What people look at: the Streamlit console and the queries behind it."""
