"""Which of the surviving documents fill the budget, and by what rule they are taken."""
